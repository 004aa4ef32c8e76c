# Functions of ./build, ./demo and ./check: is Rust new enough, and which of Debian's packages are missing.
# They are sourced with the project's top directory as the working directory.

# The Rust that popward needs, as Cargo.toml says it.
rust_needed() { sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml; }

# Whether version $1 is as new as the one that popward needs.
is_new_enough() { printf '%s\n' "$(rust_needed)" "$1" | sort -VC; }

# Fails with one sentence where cargo or rustc is missing or too old. cargo can be older than rustc: Debian packages them
# apart.
require_rust() {
    local program version found=""
    for program in cargo rustc; do
        version=$("$program" --version 2>/dev/null | awk '{ print $2 }') || true
        if [ -z "$version" ]; then
            found="$found, no $program"
        elif ! is_new_enough "$version"; then
            found="$found, $program $version"
        fi
    done
    if [ -z "$found" ]; then return; fi
    echo "popward needs Rust $(rust_needed) or later and found ${found#, }: run \`apt-get install cargo-web rustc-web\`" \
        "(Debian 12's newer Rust; it replaces cargo and rustc), or get it from https://rustup.rs" >&2
    return 1
}

# apt by itself may have its lock for minutes, and a mirror may be away for one.
apt() {
    local as_root=()
    if [ "$(id -u)" != 0 ]; then as_root=(sudo -n); fi
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 "$@"
}

apt_update() {
    local pause
    for pause in 10 20 30 40 0; do
        if apt update -q; then return; fi
        sleep "$pause"
    done
    return 1
}

# Packages that have cargo and rustc, after apt_update. Debian 12 has a newer Rust by other names. Prints nothing where Debian
# has none that is new enough.
rust_packages() {
    local suffix version
    for suffix in "" -web; do
        version=$(apt-cache policy "rustc$suffix" | awk '$1 == "Candidate:" { print $2 }')
        if [ "$version" ] && [ "$version" != "(none)" ] && is_new_enough "$version"; then
            echo "cargo$suffix rustc$suffix"
            return
        fi
    done
}

# Installs packages, after apt_update. The package `rust` stands for those of rust_packages.
install_packages() {
    local package rust packages=()
    for package; do
        if [ "$package" != rust ]; then
            packages+=("$package")
            continue
        fi
        rust=$(rust_packages)
        # Names without spaces.
        # shellcheck disable=SC2206
        packages+=($rust)
    done
    if apt install -qy --no-install-recommends "${packages[@]}"; then return; fi
    echo "these packages are missing, and only root can install them: apt-get install ${packages[*]}" >&2
    return 1
}
