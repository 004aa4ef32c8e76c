# Runs in the arm64 guest: the tests that .ci/roots has compiled, against the executables that it has compiled. One `ok` or
# `not ok` for each test executable.
# shellcheck shell=bash
sources=/popward executables=/popward/target/release
check() { if [ "$1" = "$2" ]; then echo "ok arm64: $3"; else echo "not ok arm64: $3: $1, not $2"; failed=1; fi; }
failed=0
check "$(uname -m)" aarch64 "the machine is aarch64"
check "$(tr , '\n' </sys/kernel/security/lsm | grep -x landlock)" landlock "the kernel enforces Landlock"

# Where the tests look for their data, on the disk where they hard link the executables.
mkdir -p "$sources/tests" "$sources/privsep/mbox" "$executables"
cp -r "$VM_PAYLOAD/sources/." "$sources"
cp "$VM_PAYLOAD"/executables/popward* "$executables"
export POPWARD_EXECUTABLES=$executables
cd "$sources" || exit 125
for program in "$VM_PAYLOAD"/tests/*; do
    name=$(basename "${program%-*}") began=$SECONDS status=0
    timeout -k 10 1200 "$program" >/root/log 2>&1 || status=$?
    seconds=$((SECONDS - began))
    grep -h '^skipped: ' /root/log | sort -u
    result=$(sed -n 's/^test result: ok\. \([0-9]* passed; 0 failed; [0-9]* ignored\).*/\1/p' /root/log)
    if [ "$status" = 0 ] && [ "$result" ]; then
        echo "ok arm64: $name: $result ($seconds s)"
    else
        tail -n 60 /root/log
        grep '^test .*FAILED$' /root/log
        echo "not ok arm64: $name: ended with $status ($seconds s)"
        failed=1
    fi
    cp /root/log "$VM_OUT/$name.log"
done
exit "$failed"
