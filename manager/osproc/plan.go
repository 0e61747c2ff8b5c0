package osproc

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/seed7529eb29/regent/manager/app"
)

// plan is a command made ready for one start.
type plan struct {
	path string // of the program, absolute
	args []string
	env  []string
	dir  string
}

// newPlan finds out what can be known before a process exists, so that the
// usual mistakes are reported in words.
func newPlan(c Command, s app.Start, own map[string]string) (plan, error) {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return plan{}, ErrNoCommand
	}
	if err := checkDir(c.Dir); err != nil {
		return plan{}, fmt.Errorf("working directory: %w", err)
	}
	p := plan{args: c.Args, dir: c.Dir, env: environment(os.Environ(), c, s, own)}
	for _, text := range slices.Concat(p.args, p.env) {
		if strings.Contains(text, "\x00") { // no system call takes that
			return plan{}, fmt.Errorf("command: %q has a zero byte: %w", text, syscall.EINVAL)
		}
	}
	var err error
	if p.path, err = lookPath(c.Args[0], c.Dir, variable(p.env, "PATH")); err != nil {
		return plan{}, fmt.Errorf("command: %w", err)
	}
	return p, nil
}

func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = &os.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
	return err
}
