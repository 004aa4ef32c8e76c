//! Runs a pure function with the widest vector instructions of the processor. The scan of a whole spool
//! takes a third of the time with them.

/// A pure computation. Its [`Computation::run`] must be `#[inline(always)]`: only then is it compiled with
/// the wide vectors.
pub trait Computation {
    /// The result.
    type Outcome;
    /// Computes the result.
    fn run(self) -> Self::Outcome;
}

/// Runs `computation`, with 32-byte vectors if the processor has them. The result is always the same.
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
        // SAFETY: the only condition is that the processor has AVX2, which was just checked. The check
        // includes that the system saves the wide registers.
        unsafe { with_avx2(computation) }
    } else {
        computation.run()
    }
}

/// Runs `computation`. On other processors the compiler's usual vectors are the widest.
#[cfg(not(target_arch = "x86_64"))]
pub fn with_widest_vectors<C: Computation>(computation: C) -> C::Outcome {
    computation.run()
}
