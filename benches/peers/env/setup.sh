#!/bin/bash
# Run once inside enter.sh: installs the peers and makes users, certificate and
# configurations.  Debian names: popa3d and solid-pop3d conflict with the others
# as packages (Conflicts: pop3-server), so those two are unpacked only.
set -e
S=${POPBENCH_SCRATCH:?}
HERE=$(cd "$(dirname "$0")" && pwd)
export DEBIAN_FRONTEND=noninteractive
if ! [ -x /usr/sbin/solid-pop3d ]; then
	apt-get install -y --no-install-recommends dovecot-pop3d mailutils-pop3d \
		procmail liblockfile-bin liblockfile1 ucspi-tcp openssl strace
	d=$(mktemp -d); chmod 777 "$d"
	(cd "$d" && apt-get download popa3d solid-pop3d && for x in *.deb; do dpkg -x "$x" /; done)
	rm -r "$d"
fi
getent passwd popa3d >/dev/null || useradd -r -M -d /var/empty -s /usr/sbin/nologin popa3d
getent passwd spop3d >/dev/null || useradd -r -U -M -d /var/lib/solid-pop3d -s /usr/sbin/nologin spop3d
mkdir -p /var/empty /var/lib/popa3d /var/lib/solid-pop3d/bulletins; chmod 755 /var/empty /var/lib/popa3d
# Users.  The big-mailbox users come first: NSS scans the file from its top.
# DES crypt, so that the password hash (equal for all) costs next to nothing.
if ! getent passwd user0001 >/dev/null; then
	h=$(python3 -c 'import crypt;print(crypt.crypt("benchpw","xx"))')
	cp /etc/passwd "$S/passwd.old"; cp /etc/shadow "$S/shadow.old"
	add() { echo "$1:x:$2:8::/home/bench/$1:/bin/sh" >>"$S/p"; echo "$1:$h:19000:0:99999:7:::" >>"$S/s"
		echo "$1:$h:$2:8::/home/bench/$1::" >>"$S/df"; mkdir -p "/home/bench/$1"; chown "$2:8" "/home/bench/$1"; }
	rm -f "$S"/p "$S"/s "$S"/df; u=20000
	for i in $(seq 1 12); do u=$((u+1)); add "$(printf big%04d "$i")" $u; u=$((u+1)); add "$(printf mid%04d "$i")" $u; done
	for i in $(seq 1 1050); do u=$((u+1)); add "$(printf user%04d "$i")" $u; done
	cat "$S/passwd.old" "$S/p" >/etc/passwd; cat "$S/shadow.old" "$S/s" >/etc/shadow
	mkdir -p "$S/etc"; mv "$S/df" "$S/etc/dovecot.users"; rm "$S/p" "$S/s"
fi
chown root:mail "$S/mail"; chmod 2775 "$S/mail"; chmod 755 "$S"
for p in popa3d solid-pop3d dovecot pop3 pop3d pop mu-pop3d gnu-pop3d tpop3d mailutils; do
	printf '@include common-auth\n@include common-account\n' >/etc/pam.d/$p
done
mkdir -p "$S/etc"; cd "$S/etc"
[ -f key.pem ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
	-subj /CN=localhost -keyout key.pem -out cert.pem 2>/dev/null
cat cert.pem key.pem >both.pem; chmod 600 key.pem both.pem
# dovecot: NAME PORT TLSPORT extra
dc() {
	mkdir -p "$S/index/$1" "$S/run/$1"; chmod 1777 "$S/index/$1"
	sed -e "s|@S@|$S|g; s|@NAME@|$1|g; s|@PORT@|$2|g; s|@TLSPORT@|$3|g" "$HERE/dovecot.conf.in" >"$1.conf"
	printf '%s\n' "$4" >>"$1.conf"
}
dc dovecot 2110 2995 ''
dc dovecot-lock 2111 2996 'pop3_lock_session = yes'
dc dovecot-fast 2112 2997 'pop3_fast_size_lookups = yes
pop3_no_flag_updates = yes
auth_cache_size = 10M
service pop3-login {
  service_count = 0
  process_min_avail = 2
  client_limit = 6000
  vsz_limit = 1G
}
service pop3 {
  process_limit = 2000
  process_min_avail = 8
}'
cat >spop3d.conf <<X
<Global>
AutoLogoutTime 30m
MailDropName "/var/mail/%s"
MailDropType mailbox
</Global>
X
cat >mailutils.conf <<X
mode daemon;
foreground yes;
max-children 2000;
pidfile $S/run/mailutils.pid;
server 127.0.0.1:2140 { tls-mode ondemand; tls { ssl-certificate-file $S/etc/cert.pem; ssl-key-file $S/etc/key.pem; }; };
server 127.0.0.1:2145 { tls-mode connection; tls { ssl-certificate-file $S/etc/cert.pem; ssl-key-file $S/etc/key.pem; }; };
tls-file-checks { key-file none; cert-file none; ca-file none; };
acl { allow any; };
X
mkdir -p "$S/index/tpop3d"; chown root:mail "$S/index/tpop3d"; chmod 2775 "$S/index/tpop3d"
cat >tpop3d.conf <<X
listen-address: 127.0.0.1:2150 127.0.0.1:2155;tls=immediate,$S/etc/cert.pem,$S/etc/key.pem
max-children: 2000
timeout-seconds: 1800
no-detach: yes
tcp-send-buffer: 1048576
mailbox: bsd:/var/mail/\$(user)
mailspool-index: $S/index/tpop3d/\$(escaped_name)
auth-pam-enable: yes
auth-pam-facility: tpop3d
auth-pam-mail-group: mail
X
# popward: Dovecot's file of accounts, with the hash that all have.
mkdir -p "$S/popward/libexec" "$S/popward/state"
while read -r name; do cp "$POPWARD_EXECUTABLES/$name" "$S/popward/libexec/"; done <"$HERE/../../../packaging/executables"
chmod 755 "$S/popward" "$S/popward/libexec" "$S/popward/state"
chmod 711 "$S/popward/libexec"/*
cp dovecot.users "$S/popward/users"; chown 0:64211 "$S/popward/users"; chmod 640 "$S/popward/users"
cat >popward.toml <<X
[server]
libexec = "$S/popward/libexec"
state = "$S/popward/state"
[accounts]
front = 64210
auth = 64211
keys = 64212
[[listen]]
address = "127.0.0.1:2170"
[[listen]]
address = "127.0.0.1:2175"
tls = true
[[certificate]]
chain = "$S/etc/cert.pem"
key = "$S/etc/key.pem"
[auth]
passwd_file = "$S/popward/users"
last_uid = 90000
[limits]
connections = 20000
connections_per_address = 20000
X
echo setup done
