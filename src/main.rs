//! `popward-front`, the network process. It runs as `_popward` in an empty root directory, without capabilities;
//! it may touch the listening sockets, its clients' sockets and its channels to the other processes: no file.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    popward_front::setup::main()
}
