# Runs in the guest: installs Debian's package, and has systemd run it.
# shellcheck shell=bash
cd "$VM_PAYLOAD" || exit 125
for f in popward popward-*; do
  if ldd "$f" 2>&1 | grep 'not found'; then echo "the guest has not what $f needs: build on the guest's Debian"; exit 3; fi
done
useradd alice && echo alice:secret | chpasswd || exit 125
cp popward_*.deb /root/popward.deb
dpkg -i needed/*.deb || exit 125
dpkg -i /root/popward.deb || { echo "not ok systemd: the package installs"; exit 1; }
sed -n '/^    install -m 0640 -g _popward-auth/,/^$/s/^    //p' docs/operation.md > /root/password-file
[ -s /root/password-file ] || { echo "not ok systemd: docs/operation.md shows how to make a password file"; exit 1; }
# The same files in a later version.
dpkg-deb -R /root/popward.deb /root/later && sed -i 's/^Version: .*/&+later/' /root/later/DEBIAN/control &&
  dpkg-deb -b /root/later /root/later.deb || exit 125
python3 -S sessions.py
