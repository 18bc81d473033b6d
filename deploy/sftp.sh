#!/bin/sh
# OpenSSH as the profile `demo` runs it: one chrooted login per city, the province's login that sees all of them as
# /<account>/…, and the printing authority with its own login and ours. Keys only, no shell, no forwarding.
#
# Reads the secrets sftp_host_key and sftp_logins (LOGIN ROLE KEYTYPE KEY), keeps the files below /srv/sftp.
# Starts as root, because only root can chroot; every session runs under the login's own user.
set -eu
umask 022

secrets=/run/secrets
tree=/srv/sftp
state=/run/certflow-sftp
mkdir -p "$state/keys" "$tree/cities" "$tree/authority" /run/sshd
install -m 600 "$secrets/sftp_host_key" "$state/host_key"

person() { # LOGIN NUMBER [MEMBER]: a user with a group of its own, no password, no shell
    grep -q "^$1:" /etc/passwd || echo "$1:*:$2:$2::/:/usr/sbin/nologin" >>/etc/passwd
    grep -q "^$1:" /etc/group || echo "$1:x:$2:${3:-}" >>/etc/group
}
folder() { # MODE OWNER GROUP PATH
    mkdir -p "$4"
    chown "$2:$3" "$4"
    chmod "$1" "$4"
}

number=20000
while read -r login role kind key; do
    number=$((number + 1))
    echo "$kind $key" >"$state/keys/$login"
    case $role in
    province) province=$login ;;
    upward) upward=$login ;;
    esac
    case $role in
    city) person "$login" "$number" "$province" ;;
    authority) person "$login" "$number" "$upward" ;;
    *) person "$login" "$number" ;;
    esac
    case $role in
    city)
        # A city writes where it hands in; what the province puts down for it, it can only read.
        for name in 报送 试投 证明; do folder 2770 "$login" "$login" "$tree/cities/$login/$name"; done
        for name in 已接收 回执; do folder 2750 "$province" "$login" "$tree/cities/$login/$name"; done
        ;;
    authority)
        for name in 上报 返回 归档; do folder 2770 "$login" "$login" "$tree/authority/$name"; done
        ;;
    esac
done <"$secrets/sftp_logins"

cat >"$state/sshd_config" <<CONFIG
Port ${SFTP_PORT:-2222}
ListenAddress ${SFTP_LISTEN:-0.0.0.0}
HostKey $state/host_key
PidFile none
AuthorizedKeysFile $state/keys/%u
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UsePAM no
DisableForwarding yes
PermitTunnel no
PermitTTY no
PermitUserRC no
Subsystem sftp internal-sftp
Match User $province
    ChrootDirectory $tree/cities
    ForceCommand internal-sftp -u 0027
Match User $upward,authority
    ChrootDirectory $tree/authority
    ForceCommand internal-sftp -u 0007
Match User *
    ChrootDirectory $tree/cities/%u
    ForceCommand internal-sftp -u 0007
CONFIG
exec /usr/sbin/sshd -D -e -f "$state/sshd_config"
