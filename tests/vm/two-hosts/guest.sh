# Runs in the guest: an NFS server, and two hosts of their own net, mount, host name and process id namespaces that mount it.
# shellcheck shell=bash
mkdir -p /usr/libexec/popward /srv/nfs/v3 /srv/nfs/v4 /mnt/v3 /mnt/v4
cp "$VM_PAYLOAD"/popward* /usr/libexec/popward/
chown -R 0:0 /usr/libexec/popward
chmod 711 /usr/libexec/popward/*
for f in /usr/libexec/popward/*; do
  if ldd "$f" 2>&1 | grep 'not found'; then echo "the guest has not what $f needs: build on the guest's Debian"; exit 3; fi
done
# The exported file system is not the root's, as on a file server.
truncate -s 64M /root/nfs.img && mke2fs -q -t ext4 /root/nfs.img && mount -o loop /root/nfs.img /srv/nfs || exit 125
mkdir -p /srv/nfs/v3 /srv/nfs/v4
echo '/srv/nfs 10.64.0.0/16(rw,sync,no_subtree_check,no_root_squash,insecure)' > /etc/exports
modprobe nfsd
# A server that comes up waits so long for clients that had locks before. There are none.
echo 5 > /proc/sys/fs/nfs/nlm_grace_period
systemctl unmask -q proc-fs-nfsd.mount 2>/dev/null
mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
echo 10 > /proc/fs/nfsd/nfsv4leasetime; echo 10 > /proc/fs/nfsd/nfsv4gracetime
systemctl start rpcbind.service rpc-statd.service nfs-server.service || { systemctl status --no-pager rpcbind nfs-server; exit 125; }
rpcinfo -p | awk '{print $5, $2}' | sort -u | tr '\n' ' '; echo

cat > /root/host.sh <<'HOST'
hostname "$1"; ip link set lo up
# What rpcbind and statd keep is each host's own.
mount -t tmpfs run /run; mkdir -p /run/sm; cp -a /var/lib/nfs /run/nfs; mount --bind /run/nfs /var/lib/nfs
mkdir -p /run/rpcbind /run/lock; rpcbind -w 2>/dev/null || rpcbind
while ! rpcinfo -T tcp 127.0.0.1 100000 >/dev/null 2>&1; do sleep 0.1; done
rpc.statd --no-notify
# As an init does, bash waits for those whose parent is dead.
touch /root/up."$1"; sleep 100000 & wait; exit
HOST
n=0
for host in one two; do
  n=$((n+1))
  unshare --net --mount --uts --pid --fork --kill-child --mount-proc bash /root/host.sh "$host" </dev/null >/dev/null 2>&1 & unshare=$!
  until [ -e "/root/up.$host" ]; do sleep 0.1; kill -0 $unshare || exit 125; done
  pid=$(cat /proc/$unshare/task/$unshare/children); pid=${pid% }
  ip link add "to-$host" type veth peer name eth0 netns "$pid"
  ip addr add "10.64.$n.1/24" dev "to-$host"; ip link set "to-$host" up
  nsenter -t "$pid" -n ip addr add "10.64.$n.2/24" dev eth0; nsenter -t "$pid" -n ip link set eth0 up
  e() { nsenter -t "$pid" -n -m -u -p "$@"; }
  e mount -t nfs -o vers=3,proto=tcp,timeo=50 "10.64.$n.1:/srv/nfs/v3" /mnt/v3 || { echo "no NFSv3"; exit 125; }
  e mount -t nfs -o vers=4.2,proto=tcp,timeo=50 "10.64.$n.1:/srv/nfs/v4" /mnt/v4 || { echo "no NFSv4"; exit 125; }
  e grep ' nfs' /proc/mounts | cut -c1-160
  echo "$host $pid 10.64.$n.2" >> /root/hosts
done
python3 -S "$VM_PAYLOAD/sessions.py" /root/hosts; rc=$?
for job in $(jobs -p); do kill "$job"; done
exit $rc
