# Runs in the guest: installs popward by the commands that docs/operation.md shows, and has systemd run it.
# shellcheck shell=bash
mkdir -p /root/popward/target/release && cd /root/popward || exit 125
cp -r "$VM_PAYLOAD"/packaging . && cp "$VM_PAYLOAD"/popward* target/release/
for f in target/release/popward*; do
  if ldd "$f" 2>&1 | grep 'not found'; then echo "the guest has not what $f needs: build on the guest's Debian"; exit 3; fi
done
cp -r "$VM_PAYLOAD"/docs .
shown() { sed -n "/^    $1/,/^\$/s/^    //p" docs/operation.md; }
shown packaging.install > install
shown 'install -m 0600 -o _popward-auth' > password-file
[ -s install ] && [ -s password-file ] || { echo "not ok systemd: docs/operation.md shows how to install"; exit 1; }
bash -ex install || { echo "not ok systemd: the commands of docs/operation.md install popward"; exit 1; }
install -m 0600 "$VM_PAYLOAD/chain.pem" "$VM_PAYLOAD/key.pem" /etc/popward/
useradd alice || exit 125
echo secret | bash -ex password-file || { echo "not ok systemd: the commands of docs/operation.md make a password file"; exit 1; }
python3 -S "$VM_PAYLOAD/sessions.py"
