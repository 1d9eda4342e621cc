# The one place that calls cargo. It hides which cargo, profile, target and flags make libaio_rs.a;
# who includes it gets the paths of the archive and of the linker script that goes with it, and the
# target `aio_rs_cargo` that brings both up to date.

set(AIO_RS_CARGO_PROFILE "release" CACHE STRING "Cargo profile of the library: release or dev")
set_property(CACHE AIO_RS_CARGO_PROFILE PROPERTY STRINGS release dev)
set(AIO_RS_CARGO_PACKAGE "aio_rs-capi" CACHE STRING "Cargo package that makes libaio_rs.a")
set(AIO_RS_RUST_TARGET "" CACHE STRING "Rust target triple; empty for the host")
set(AIO_RS_CARGO_TARGET_DIR "${CMAKE_CURRENT_BINARY_DIR}/cargo" CACHE PATH
    "Cargo's own folder; builds with the same flags may share one")
set(AIO_RS_CARGO_FLAGS "" CACHE STRING "More arguments of cargo, for instance --offline")

find_program(AIO_RS_CARGO cargo HINTS "$ENV{CARGO_HOME}/bin" "$ENV{HOME}/.cargo/bin")
if(NOT AIO_RS_CARGO)
    message(FATAL_ERROR "aio_rs needs a Rust toolchain (cargo); see https://rustup.rs")
endif()

# Sets VAR to the triple of the machine that builds.
function(aio_rs_host_triple var)
    get_filename_component(bin "${AIO_RS_CARGO}" DIRECTORY)
    find_program(AIO_RS_RUSTC rustc HINTS "${bin}")
    execute_process(COMMAND "${AIO_RS_RUSTC}" -vV OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCH "host: ([^\n]+)" unused "${text}")
    set(${var} "${CMAKE_MATCH_1}" PARENT_SCOPE)
endfunction()

# Makes the target `aio_rs_cargo`, which is always run (cargo knows itself what is out of date, and
# leaves the archive untouched when nothing is), and sets VAR to the path of libaio_rs.a and SCRIPT
# to that of the linker script that belongs to it (capi/build.rs writes it; other packages do not).
function(aio_rs_cargo_archive var script)
    set(target_dir "${AIO_RS_CARGO_TARGET_DIR}")
    set(linker_script "${target_dir}/aio_rs.ld")
    if(NOT EXISTS "${linker_script}")
        file(WRITE "${linker_script}" "/* Nothing. */\n")
    endif()
    set(triple "${AIO_RS_RUST_TARGET}")
    # The archive is linked once more: its debug information must be in it, not in files of cargo's.
    set(environment CARGO_PROFILE_RELEASE_SPLIT_DEBUGINFO=off CARGO_PROFILE_DEV_SPLIT_DEBUGINFO=off
        "AIO_RS_LINKER_SCRIPT=${linker_script}")

    if(AIO_RS_SANITIZE STREQUAL "address")
        # Not stable in rustc, hence the bootstrap variable. A target must be given, or build
        # scripts would be instrumented too. Without LTO the checks keep to the code as written.
        if(NOT triple)
            aio_rs_host_triple(triple)
        endif()
        list(APPEND environment RUSTC_BOOTSTRAP=1 "RUSTFLAGS=$ENV{RUSTFLAGS} -Zsanitizer=address"
            CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true)
    elseif(AIO_RS_SANITIZE STREQUAL "thread")
        # The standard library stays as it is, hence the allowance: what it hides from the sanitizer
        # is replaced (src/sys/sync.rs) or in tests/c/thread_sanitizer.txt.
        if(NOT triple)
            aio_rs_host_triple(triple)
        endif()
        list(APPEND environment RUSTC_BOOTSTRAP=1 "RUSTFLAGS=$ENV{RUSTFLAGS} \
-Zsanitizer=thread --cfg tsan -Cunsafe-allow-abi-mismatch=sanitizer" CARGO_PROFILE_RELEASE_LTO=off)
    elseif(AIO_RS_SANITIZE)
        message(FATAL_ERROR "AIO_RS_SANITIZE is empty, address or thread, not '${AIO_RS_SANITIZE}'")
    endif()

    set(arguments rustc --package "${AIO_RS_CARGO_PACKAGE}" --lib --crate-type staticlib
        --profile "${AIO_RS_CARGO_PROFILE}" --target-dir "${target_dir}")
    if(triple)
        list(APPEND arguments --target "${triple}")
    endif()
    if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/Cargo.lock")
        list(APPEND arguments --locked)
    endif()

    string(REGEX REPLACE "^dev$" "debug" folder "${AIO_RS_CARGO_PROFILE}")
    cmake_path(APPEND archive "${target_dir}" "${triple}" "${folder}" "libaio_rs.a")
    add_custom_target(aio_rs_cargo
        COMMAND "${CMAKE_COMMAND}" -E env ${environment}
            "${AIO_RS_CARGO}" ${arguments} ${AIO_RS_CARGO_FLAGS}
        BYPRODUCTS "${archive}"
        WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
        COMMENT "Building libaio_rs.a with cargo (profile ${AIO_RS_CARGO_PROFILE})"
        USES_TERMINAL
        VERBATIM)
    set(${var} "${archive}" PARENT_SCOPE)
    set(${script} "${linker_script}" PARENT_SCOPE)
endfunction()
