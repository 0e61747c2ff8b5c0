// Package app is the contract between a node and what it runs, and the runner
// of apps written in Go.
//
// A [Runner] starts instances of one app; package osproc has the one for
// operating system processes, [Go] is the one for apps inside this process.
// The contract is the same for both:
//
//   - Start returns at once. Started is closed when the app is started (a
//     process: exec succeeded; Go: the Start callback and all start phases are
//     done). An instance whose Done is closed without that has failed to start.
//   - Done is closed when everything of the instance is confirmed gone, never
//     earlier: also after a failed start nothing that was begun is left.
//     Something that can't be ended keeps Done open, since it is alive.
//   - Stop is polite and bounded by the stop timeout, after which it is Kill.
//     Kill is at once. Both may be called at any time, during the start too, by
//     any goroutine, more than once, and never block.
//
// An app in Go can't be killed from outside. It has [KillGrace] to return once
// its context is cancelled; then the whole process is ended through Abort,
// since a right that has run out must not be used a moment longer.
package app
