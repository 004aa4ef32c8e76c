//! Runs a pure function with the widest vector instructions that the processor has: what reads all of a spool takes a
//! third of the time with them.

/// A pure piece of work. Its [`Computation::run`] is `#[inline(always)]`, so that it is compiled where it is called.
pub trait Computation {
    /// What comes of it.
    type Outcome;
    /// Does it.
    fn run(self) -> Self::Outcome;
}

/// Does `computation`, with 32-byte vectors where the processor has them. The outcome is the same with any.
#[cfg(target_arch = "x86_64")]
pub fn with_widest_vectors<C: Computation>(computation: C) -> C::Outcome {
    /// # Safety
    ///
    /// The processor has AVX2.
    #[target_feature(enable = "avx2")]
    unsafe fn with_avx2<C: Computation>(computation: C) -> C::Outcome {
        computation.run()
    }
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the only condition is that the processor has AVX2, and it was asked. (That the system saves the wide
        // registers is part of what was asked.)
        unsafe { with_avx2(computation) }
    } else {
        computation.run()
    }
}

/// Does `computation`. On other processors the compiler's usual vectors are the widest ones.
#[cfg(not(target_arch = "x86_64"))]
pub fn with_widest_vectors<C: Computation>(computation: C) -> C::Outcome {
    computation.run()
}
