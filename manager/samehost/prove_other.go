//go:build !linux

package samehost

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/seed7529eb29/regent/policy"
)

func noProof() error { return fmt.Errorf("%w on %s", ErrNoProof, runtime.GOOS) }

// Self is this process, without a start time.
func Self() (Process, error) { return Process{PID: os.Getpid()}, nil }

// Host has no answer on this system.
func Host() (policy.Host, error) { return policy.Host{}, noProof() }

// Prove has no answer on this system.
func Prove(policy.SessionRecord) (gone bool, err error) { return false, noProof() }

// AgentGone has no answer on this system.
func AgentGone(policy.SessionRecord) (bool, error) { return false, noProof() }

// KillLeftovers kills nothing on this system.
func KillLeftovers(policy.SessionRecord, Mercy) (killed int, err error) { return 0, noProof() }

// EndFormer ends nothing on this system.
func EndFormer(string, string, time.Duration) (killed int, err error) { return 0, noProof() }

// Alive has no answer on this system.
func (g Group) Alive() (bool, error) { return true, noProof() }

// Kill kills nothing on this system.
func (g Group) Kill(policy.Session) (killed int, err error) { return 0, noProof() }
