package warden

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"syscall"
)

// A warden is this program with its name as the only argument and the pid of
// its agent in its environment.
const (
	processName = "regent-warden"
	agentEnv    = "REGENT_WARDEN_OF"
	fdSocket    = 3
)

// mainCalled is set by Main in a program that is not a warden.
var mainCalled atomic.Bool

// Main must be called first thing in main by every program that has a Client. In
// a warden it never returns.
func Main(connect Connect) {
	agent, ok := os.LookupEnv(agentEnv)
	if !ok || len(os.Args) == 0 || os.Args[0] != processName {
		mainCalled.Store(true)
		return
	}
	_ = os.Unsetenv(agentEnv)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("warden of", agent)
	if err := run(agent, connect, log); err != nil {
		log.Error("warden", "err", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// What a warden may use: it waits, and has next to nothing in memory.
const (
	memoryLimit = 10 << 20
	gcPercent   = 30
)

func run(agent string, connect Connect, log *slog.Logger) error {
	runtime.GOMAXPROCS(2)
	debug.SetMemoryLimit(memoryLimit)
	debug.SetGCPercent(gcPercent)
	// What ends a terminal's programs is for the agent, which says goodbye.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGTSTP)
	pid, err := strconv.Atoi(agent)
	if err != nil {
		return fmt.Errorf("%s: %w", agentEnv, err)
	}
	w, err := newWatch(pid, connect, log)
	if err != nil {
		return err
	}
	return w.run()
}
