#!/bin/sh
# Makes what docker-compose.yaml takes as secrets: sh deploy/secrets.sh [FOLDER] [--demo]      (default: ./secrets)
#
# What is there is kept, so it may be run again at any time. The folder is 0700; the files in it are readable for all,
# because the containers run under users of their own and see single files only.
# --demo also makes the keys of the SFTP server of the profile `demo`, one for each login in deploy/sftp-logins.
set -eu
umask 022

folder=secrets demo=
for word in "$@"; do
    case $word in
    --demo) demo=yes ;;
    -*) echo "usage: sh deploy/secrets.sh [FOLDER] [--demo]" >&2 && exit 2 ;;
    *) folder=$word ;;
    esac
done
command -v ssh-keygen >/dev/null || { echo "ssh-keygen is missing (Debian: apt install openssh-client)" >&2 && exit 1; }
here=$(dirname "$0")
mkdir -p "$folder"
chmod 700 "$folder"

letters() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
fernet() { head -c 32 /dev/urandom | base64 | tr '+/' '-_'; }
keep() { # FILE: standard input becomes the file, unless there is one
    if [ ! -e "$folder/$1" ]; then
        cat >"$folder/$1.part"
        mv "$folder/$1.part" "$folder/$1"
    fi
}
key() { # FILE: an Ed25519 key and FILE.pub
    if [ ! -e "$folder/$1" ]; then
        ssh-keygen -q -t ed25519 -N '' -C "$(basename "$1")" -f "$folder/$1" </dev/null
        chmod 644 "$folder/$1"
    fi
}

for name in postgres_password certflow_password app_password airflow_password redis_password api_secret jwt_secret; do
    letters | keep "$name"
done
fernet | keep fernet_key
printf 'postgresql://certflow_app:%s@postgres/certflow\n' "$(cat "$folder/app_password")" | keep database_url
printf 'postgresql://certflow:%s@postgres/certflow\n' "$(cat "$folder/certflow_password")" | keep owner_url
printf 'postgresql+psycopg://airflow:%s@postgres/airflow\n' "$(cat "$folder/airflow_password")" | keep metadata_url
printf 'redis://:%s@redis:6379/0\n' "$(cat "$folder/redis_password")" | keep broker_url
printf 'requirepass %s\nsave ""\n' "$(cat "$folder/redis_password")" | keep redis.conf

# Encryption of files at rest: off while these are empty. To switch it on: openssl rand -base64 32 >vault_key
keep vault_key </dev/null
echo | keep vault_old_keys

# Our logins on the cities' server and at the authority: send them the .pub files, ask them for their host keys.
key city_key
key authority_key
if [ -z "$demo" ]; then
    keep known_hosts </dev/null
    [ -s "$folder/known_hosts" ] ||
        echo "now write the host keys of the cities' and the authority's server into $folder/known_hosts" >&2
    exit 0
fi

key sftp_host_key
mkdir -p "$folder/logins"
chmod 700 "$folder/logins"
grep -qsF '[sftp]:2222 ' "$folder/known_hosts" ||
    printf '[sftp]:2222 %s\n' "$(cut -d ' ' -f 1-2 "$folder/sftp_host_key.pub")" >>"$folder/known_hosts"
while read -r login role; do
    case $role in
    province) file=city_key ;;
    upward) file=authority_key ;;
    *) file=logins/$login && key "$file" ;;
    esac
    printf '%s %s %s\n' "$login" "$role" "$(cut -d ' ' -f 1-2 "$folder/$file.pub")"
done <"$here/sftp-logins" >"$folder/sftp_logins"
