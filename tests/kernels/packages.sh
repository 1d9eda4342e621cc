# shellcheck shell=bash
# Sourced by tools/kernels: Debian's packaged kernels, of this release and of others. They come
# through an apt root of their own below the cache folder, with the machine's mirror, settings and
# keys, so that neither the machine's sources nor its installed packages change.
#
# The caller has set `cache`, an absolute folder.
: "${cache:?}"

# Where 5.10, 6.1, 6.12 and the newest kernel are.
suites=(bullseye bookworm trixie trixie-backports)
# What makes a slow link between two network namespaces.
modules=(veth sch_tbf)

# The URI of the mirror that this machine gets its release from.
debian_mirror() {
    local release
    release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # shellcheck disable=SC2016 # The variables are apt's.
    apt-get indextargets --no-release-info --format '$(REPO_URI) $(RELEASE)' \
        'Created-By: Packages' | awk -v release="$release" '
            $2 == release || $2 ~ /^(old)*stable$/ { mirror = $1 }
            END { print mirror; exit !mirror }'
}

# An apt command in the root of its own.
in_root() {
    "$1" --config-file "$cache/apt/apt.conf" "${@:2}"
}

# The root's settings, which name its own place and the machine's mirror: both may have changed.
configure_root() {
    local apt=$cache/apt mirror suite keys=/usr/share/keyrings/debian-archive-keyring.gpg
    if ! mirror=$(debian_mirror); then
        echo "apt does not say where this release of Debian comes from"
        return 1
    fi
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    for suite in "${suites[@]}"; do
        echo "deb [signed-by=$keys] $mirror $suite main"
    done >"$apt/sources.list"
    # What the machine does after an update is not for these lists.
    cat >"$apt/apt.conf" <<END
Dir::State "$apt";
Dir::State::lists "lists";
Dir::State::status "/dev/null";
Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "-";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
}

# Asks the mirror once a day, and where it has not answered for all suites once in a run: the lists
# that are there serve then.
update_lists() {
    configure_root || return
    if [[ -n ${asked_in_vain:-} || -n $(find "$cache/apt/updated" -mtime -1 2>/dev/null) ]]; then
        return 0
    fi
    if in_root apt-get -qq update; then
        touch "$cache/apt/updated"
    else
        asked_in_vain=1
    fi
}

# Reads versions; gives the highest of those that begin with the one asked for.
highest_of() {
    local prefix=$1.
    [[ $1 != newest ]] || prefix=
    awk -v prefix="$prefix" 'index($0, prefix) == 1' | sort --version-sort | tail -n 1
}

# The versions that are packaged.
packaged() {
    in_root apt-cache pkgnames | sed -nE 's/^linux-(image|binary)-([0-9].*)-cloud-amd64$/\2/p'
}

# The packages of a version. Kernel and modules have one each since 6.19, and share one before.
packages_of() {
    if in_root apt-cache show "linux-binary-$1-cloud-amd64" >/dev/null 2>&1; then
        echo "linux-binary-$1-cloud-amd64" "linux-modules-$1-cloud-amd64"
    else
        echo "linux-image-$1-cloud-amd64"
    fi
}

# Downloads the kernel of a version, and of its modules those that the tests use, into a folder of
# that name, which is whole when it appears.
download_kernel() {
    local download=$cache/download packages=() file module
    rm -rf "$download"
    mkdir -p "$download/all" "$download/kernel/modules"
    read -ra packages < <(packages_of "$1")
    (cd "$download" && in_root apt-get -qq download "${packages[@]}") || return
    for file in "$download"/*.deb; do
        dpkg-deb --extract "$file" "$download/all" || return
    done
    file=$(find "$download/all" -type f -name 'vmlinuz*' -print -quit)
    mv "$file" "$download/kernel/vmlinuz" || return
    for module in "${modules[@]}"; do
        file=$(find "$download/all" -type f -name "$module.ko*" -print -quit)
        # It is as it was where it is not compressed.
        xz --decompress --stdout --force "$file" >"$download/kernel/modules/$module.ko" || return
    done
    # One without modules may be left from an earlier time.
    rm -rf "$cache/kernels/$1"
    mv "$download/kernel" "$cache/kernels/$1" && rm -rf "$download"
}

# Makes the newest kernel of that version the newest one here.
fetch_kernel() {
    local version
    update_lists && version=$(packaged | highest_of "$1") && [[ -n $version ]] || return
    [[ -d $cache/kernels/$version/modules ]] && return
    if ! download_kernel "$version"; then
        rm -f "$cache/apt/updated" # the lists may be older than what the mirror has now
        return 1
    fi
}

# The folder of the newest kernel of that version that is here: vmlinuz, modules/NAME.ko. Nothing if
# there is none.
kernel_folder() {
    local version
    version=$(find "$cache/kernels" -name modules -printf '%P\n' | sed 's,/modules$,,' |
        highest_of "$1")
    [[ -n $version ]] && echo "$cache/kernels/$version"
}

# What has been downloaded before will do when the mirror does not answer.
get_kernel() {
    fetch_kernel "$1" || [[ -n $(kernel_folder "$1") ]] && return
    echo "there is no kernel $1, neither on the mirror nor here"
    return 1
}
