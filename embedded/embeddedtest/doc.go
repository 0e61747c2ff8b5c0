// Package embeddedtest runs real servers for tests: one in the test's process
// ([Start]), or a cluster of processes of its own ([StartCluster]), so that Kill
// is SIGKILL and Pause is SIGSTOP.
//
// The processes of a cluster are the test binary again: a package that imports
// this one becomes a server when an environment variable says so, before any of
// its tests run. They end with the test process, however it ends.
//
// All servers share one cookie, derived once per process. Everything is stopped
// when the test ends; a goroutine or a process left behind fails it. Because of
// that check, tests that use Start do not run in parallel with others.
package embeddedtest
