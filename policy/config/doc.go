// Package config reads the configuration of a node: an Erlang .config file or
// YAML, with one meaning.
//
// Which syntax a file has is decided by its content. An Erlang file is one
// list of {Application, [{Key, Value}]} and "file.config" includes; the
// sections kernel and regent are ours, the others are kept as the environment
// of their applications. A YAML file is one mapping; application_env holds
// there what other sections hold in Erlang.
//
//	Erlang                                     YAML
//	{kernel, [{distributed, [...]}]}           distributed
//	{kernel, [{sync_nodes_mandatory, [...]}]}  sync: {mandatory: ...}
//	{kernel, [{sync_nodes_optional, [...]}]}   sync: {optional: ...}
//	{kernel, [{sync_nodes_timeout, Ms}]}       sync: {timeout: ...}
//	{kernel, [{permissions, [...]}]}           permissions
//	{kernel, [{net_ticktime, Seconds}]}        net_ticktime
//	{regent, [{KEY, ...}]}                     KEY: hosts, ports, addresses, lease, kv_outage, servers, arbiter, apps, allow_exec, cookies
//	{APP, [{Key, Value}]}                      application_env: {APP: {KEY: VALUE}}
//
// [Keys] has all of them, with their values, defaults and meanings.
//
// Maps are lists of pairs (or maps) in Erlang, strings may be strings,
// binaries or atoms. Durations are milliseconds in Erlang (net_ticktime:
// seconds, as in OTP) and Go durations in YAML; infinity is infinity.
//
// Several files, and the includes of each where they stand, merge key by key,
// and the later wins: kernel's keys and the keys of other applications are
// replaced as a whole, as in OTP; hosts, addresses, ports and apps are merged
// entry by entry, an app's keys one by one, and env, stop and restart again
// entry by entry. Within one file, a repeated application, app, node or key is
// an error.
//
// As JSON (args, start phases, other applications' environment) atoms,
// binaries, strings and lists of printable Latin-1 characters are strings,
// except true, false and null, which are themselves; tuples are arrays, and so
// are lists of pairs; maps are objects.
//
// Load collects every error it can tell apart and returns them as
// [Diagnostics]; what is legal but without effect is in Config.Warnings.
// Columns count characters from 1. Nothing here does I/O: files come through a
// [Reader].
package config
