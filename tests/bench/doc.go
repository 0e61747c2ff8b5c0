// Package bench measures what a failover costs, on one host and beside what it
// can be compared with in the same run: the least that the parts of it cost
// (a compare-and-set on three servers, the start of a process), and Erlang/OTP
// itself where it is installed. It asserts nothing about times.
//
//	make bench
//	go test ./tests/bench -run TestFailover -v -failovers=20 [-write]
//
// What is measured is the time from kill -9 of the process that runs the app to
// the first thing that the app does elsewhere: a Go callback, or the first
// instruction of a new process. The clock is the host's own.
package bench
