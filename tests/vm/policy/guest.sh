# Runs in the guest: makes users, and installs what the package and the test need. sessions.py does the rest.
# shellcheck shell=bash
cd "$VM_PAYLOAD" || exit 125
for user in alice bob carol; do
    useradd -m "$user" && echo "$user:secret" | chpasswd || exit 125
done
echo 'LOCKSLEEP=1' >/etc/procmailrc
dpkg -i needed/*.deb >/root/dpkg.txt 2>&1 || { cat /root/dpkg.txt; exit 125; }
cp popward*.deb /root/
python3 -S sessions.py
