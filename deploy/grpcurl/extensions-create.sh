#!/bin/sh
# Makes the next version of an extension: a package of the repository, and how it is set.
# Usage: extensions-create.sh NAME PUBLISHER TYPE [VERSION [SETTINGS_JSON_FILE [PROTECTED_JSON_FILE]]]
# An empty version is the newest that is published. Protected settings are kept encrypted,
# sealed to each host that gets them, and never shown.
# Role: deployer, on "*".
. "$(dirname "$0")/lib.sh"
[ $# -ge 3 ] || usage
settings='' protected=''
[ -z "${5:-}" ] || settings=$(file_base64 "$5")
[ -z "${6:-}" ] || protected=$(file_base64 "$6")
call muster.admin.v1.ExtensionsService/CreateExtension <<EOF
{
  "name": $(quote "$1"),
  "content": {
    "publisher": $(quote "$2"),
    "type": $(quote "$3"),
    "package_version": $(quote "${4:-}"),
    "settings": "$settings"
  },
  "protected_settings": "$protected"
}
EOF
