package samehost

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/seed7529eb29/regent/policy"
)

// Host identifies this host for [Prove]. When it fails the error wraps
// ErrNoProof, and a session record of this process must carry no host at all.
// A missing machine-id is no failure: the boot-id alone is random.
func Host() (policy.Host, error) {
	if err := checkTable(); err != nil {
		return policy.Host{}, err
	}
	if err := checkTime(); err != nil {
		return policy.Host{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return policy.Host{}, fmt.Errorf("%w: boot-id: %w", ErrNoProof, err)
	}
	var ns unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &ns); err != nil {
		return policy.Host{}, fmt.Errorf("%w: PID namespace: %w", ErrNoProof, err)
	}
	h := policy.Host{MachineID: machineID(), BootID: strings.TrimSpace(string(boot)), PIDNamespace: ns.Ino}
	if h.BootID == "" || h.PIDNamespace == 0 {
		return policy.Host{}, fmt.Errorf("%w: the boot-id or the PID namespace has no value", ErrNoProof)
	}
	return h, nil
}

func machineID() string {
	for _, path := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		if id, err := os.ReadFile(path); err == nil {
			return strings.TrimSpace(string(id))
		}
	}
	return ""
}
