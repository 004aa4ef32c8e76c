//! `popward-front`, the network process. It runs as the user `_popward` in an empty root directory,
//! without capabilities. It may use the listening sockets, its clients' sockets and its channels to
//! the other processes. It may touch no file.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    popward_front::setup::main()
}
