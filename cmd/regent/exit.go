package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/seed7529eb29/regent/policy/config"
)

// Exit codes of every command.
const (
	exitOK        = 0
	exitFailed    = 1 // the message says why
	exitUsage     = 2 // command line or configuration
	exitBarrier   = 3 // a mandatory node did not come in time
	exitRefused   = 4 // cookie or credentials
	exitNoCluster = 5 // nothing reachable, or no quorum; client commands only
	exitSpec      = 6 // the specification differs from the running nodes'
	exitName      = 7 // a live node has this name
	exitApp       = 8 // a permanent app terminated, so the node stopped
)

// ExitError ends the program with Code after one line "regent: What: Err" and,
// if there is a Hint, a second one.
type ExitError struct {
	Code int
	What string // what was tried; may be empty
	Err  error  // why it failed
	Hint string // what to do about it; may be empty
}

func (e *ExitError) Error() string {
	if e.What == "" {
		return e.Err.Error()
	}
	return e.What + ": " + e.Err.Error()
}

// Unwrap is why it failed.
func (e *ExitError) Unwrap() error { return e.Err }

// usage is an error of the command line.
func usage(what, format string, args ...any) *ExitError {
	return &ExitError{Code: exitUsage, What: what, Err: fmt.Errorf(format, args...)}
}

// failed is any other failure. An error that already says how to exit stays.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*ExitError](err); ok {
		return err
	}
	if diagnosed(err) != nil {
		return &ExitError{Code: exitUsage, What: what, Err: err}
	}
	return &ExitError{Code: exitFailed, What: what, Err: err}
}

// report prints err, the only place that prints errors, and returns the exit
// code. What comes from the command line library is a usage error.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	e, ok := errors.AsType[*ExitError](err)
	if !ok {
		e = &ExitError{Code: exitUsage, Err: err}
	}
	if found := diagnosed(e.Err); found != nil {
		for _, d := range found {
			printError(w, d.Error(), d.Hint)
		}
		return e.Code
	}
	printError(w, e.Error(), e.Hint)
	return e.Code
}

func printError(w io.Writer, text, hint string) {
	fmt.Fprintln(w, "regent:", oneLine(text))
	if hint != "" {
		fmt.Fprintln(w, "hint:", oneLine(hint))
	}
}

// diagnosed are the places in configuration files that err is about.
func diagnosed(err error) config.Diagnostics {
	if ds, ok := errors.AsType[config.Diagnostics](err); ok {
		return ds
	}
	if d, ok := errors.AsType[config.Diagnostic](err); ok {
		return config.Diagnostics{d}
	}
	return nil
}

// oneLine keeps what comes from elsewhere on one line and free of escapes.
func oneLine(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
