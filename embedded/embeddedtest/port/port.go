// Package port gives tests ports that stay theirs.
//
// A test writes ports into configurations, and listens on them later, ends the
// node that listens, and starts it again: in between nobody listens, and whoever
// only looks for a port that is free takes one that is spoken for. Tests of
// several packages run side by side. So a port that was given is held until the
// process ends, listened on or not, against all tests of this user on this
// machine (not on Windows, where only this process's own are kept apart).
package port

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports are taken below the range from which Linux serves outgoing
// connections, so that a port that is free now is free a moment later, and below
// those that the demonstration chooses for itself.
const (
	lowest  = 12000
	highest = 20000
)

var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// Free are n different ports that nobody listens on, at any address.
func Free(t testing.TB, n int) []int {
	t.Helper()
	ports, err := Take(n)
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

// Addrs are n different loopback addresses that nobody listens on.
func Addrs(t testing.TB, n int) []string {
	t.Helper()
	var addrs []string
	for _, p := range Free(t, n) {
		addrs = append(addrs, net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
	}
	return addrs
}

// Take is Free where there is no test to fail.
func Take(n int) (ports []int, err error) {
	given.Lock()
	defer given.Unlock()
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		p := lowest + rand.IntN(highest-lowest)
		if given.ports[p] {
			continue
		}
		ours, err := hold(p)
		if err != nil {
			return nil, err
		}
		if !ours || !free(p) { // one that somebody listens on may as well stay held
			continue
		}
		given.ports[p] = true
		ports = append(ports, p)
	}
	return nil, errors.New("no free ports")
}

// free reports whether nobody listens on a port.
func free(p int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(p)))
	return err == nil && l.Close() == nil
}
