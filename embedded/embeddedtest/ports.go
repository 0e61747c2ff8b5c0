package embeddedtest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports are taken below the range from which Linux serves outgoing
// connections, so that a port that is free now is free a moment later.
const (
	portMin = 12000
	portMax = 32000
)

// given are the ports of this process's tests. None is given twice: a node that
// is down has its port still.
var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// FreePorts are n different ports that nobody listens on, at any address.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	given.Lock()
	defer given.Unlock()
	var found []int
	for range 1000 {
		if len(found) == n {
			return found
		}
		p := portMin + rand.IntN(portMax-portMin)
		l, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(p)))
		if err != nil || given.ports[p] || l.Close() != nil {
			continue
		}
		given.ports[p] = true
		found = append(found, p)
	}
	t.Fatalf("no %d free ports", n)
	return nil
}

// FreeAddrs are n different loopback addresses that nobody listens on.
func FreeAddrs(t testing.TB, n int) []string {
	t.Helper()
	var addrs []string
	for _, p := range FreePorts(t, n) {
		addrs = append(addrs, net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
	}
	return addrs
}
