# Runs in the guest: popward on a disk of its own, and sessions between which the clock is set.
# shellcheck shell=bash
mkdir -p /usr/libexec/popward /srv/mail
cp "$VM_PAYLOAD"/popward* /usr/libexec/popward/
chown -R 0:0 /usr/libexec/popward
chmod 711 /usr/libexec/popward/*
for f in /usr/libexec/popward/*; do
  if ldd "$f" 2>&1 | grep 'not found'; then echo "the guest has not what $f needs: build on the guest's Debian"; exit 3; fi
done
systemctl stop systemd-timesyncd.service 2>/dev/null
truncate -s 64M /root/mail.img && mke2fs -q -t ext4 /root/mail.img && mount -o loop /root/mail.img /srv/mail || exit 125
python3 -S "$VM_PAYLOAD/sessions.py" /srv/mail
