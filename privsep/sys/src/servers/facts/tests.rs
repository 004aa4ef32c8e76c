use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn listening_sockets_are_found_in_the_kernels_table() {
    let line = |address: &str, state: &str| {
        format!(
            "   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 1 1"
        )
    };
    // The kernel writes words in the byte order of the host.
    let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
    let v4 = word([127, 0, 0, 1]) + ":006E";
    assert_eq!(listener(&line(&v4, "0A")), Some(address("127.0.0.1:110")));
    assert_eq!(listener(&line(&v4, "01")), None, "a connection");
    let zero = word([0; 4]);
    let v6 = [zero.clone(), zero.clone(), zero, word([0, 0, 0, 1])].concat() + ":03E3";
    assert_eq!(listener(&line(&v6, "0A")), Some(address("[::1]:995")));
    assert_eq!(listener("  sl  local_address rem_address   st"), None);
    let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(listening().contains(&bound.local_addr().unwrap()));
}

#[test]
fn the_file_system_of_a_path_is_that_of_the_nearest_mount() {
    assert_eq!(file_system(Path::new("/proc/self")), "proc");
    assert_ne!(file_system(Path::new("/")), "proc");
}
