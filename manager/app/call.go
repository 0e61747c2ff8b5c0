package app

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// errGoexit is what a callback returns that ended its goroutine instead.
var errGoexit = errors.New("callback ended its goroutine (runtime.Goexit)")

// call runs one callback in a goroutine of its own and turns a panic or a
// Goexit into an error: neither may take the node or the instance's
// bookkeeping with it.
func call(name string, f func() error) error { return <-begin(name, f) }

// begin is call without waiting. The channel gets exactly one result.
func begin(name string, f func() error) <-chan error {
	result := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("%s: panic: %v\n%s", name, r, debug.Stack())
			}
			result <- err
		}()
		err = f()
	}()
	return result
}
