package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"
)

// bridge is the server's log, in slog. Notices become Debug: they tell the
// server's own life, which the node's log tells better.
type bridge struct {
	log    *slog.Logger
	voters []Peer

	mu      sync.Mutex
	fatal   error                // the first, which ends Start
	refused map[string]time.Time // when a refusal of this end was last logged
}

// refusedEvery limits the lines about one end that is refused: it tries again
// every second, on several connections.
const (
	refusedEvery = 10 * time.Second
	refusedMax   = 1000 // ends remembered
)

func newBridge(log *slog.Logger, voters []Peer) *bridge {
	return &bridge{log: log, voters: voters, refused: map[string]time.Time{}}
}

// Noticef is called by the server.
func (b *bridge) Noticef(format string, v ...any) { b.line(slog.LevelDebug, format, v) }

// Warnf is called by the server.
func (b *bridge) Warnf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	b.log.Log(context.Background(), levelOf(text, slog.LevelWarn), text)
}

// Debugf is called by the server.
func (b *bridge) Debugf(format string, v ...any) { b.line(slog.LevelDebug, format, v) }

// Tracef is called by the server.
func (b *bridge) Tracef(format string, v ...any) { b.line(slog.LevelDebug, format, v) }

// Errorf is called by the server.
func (b *bridge) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if b.handshake(text) || b.violation(text) {
		return
	}
	b.log.Log(context.Background(), levelOf(text, slog.LevelError), text)
}

// ordinary begins what the server reports as a warning or an error while
// nothing is wrong, or that Peers and WaitReady tell better.
var ordinary = []string{
	"Error trying to connect to route",
	"Waiting for routing to be established",
	"JetStream has not established contact with a meta leader",
	"Metalayer blocking snapshot",
	"Catchup for stream",
	"TLS certificate chain and hostname of solicited routes", // package cred verifies them, by the cookie of the moment
}

func levelOf(text string, level slog.Level) slog.Level {
	for _, prefix := range ordinary {
		if strings.HasPrefix(text, prefix) {
			return slog.LevelDebug
		}
	}
	return level
}

// Fatalf is called by the server when it cannot start. It does not expect to go
// on, but it does not insist on the end of the process either.
func (b *bridge) Fatalf(format string, v ...any) {
	err := fmt.Errorf(format, v...)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fatal == nil {
		b.fatal = err
	}
}

func (b *bridge) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fatal
}

func (b *bridge) line(level slog.Level, format string, v []any) {
	if b.log.Enabled(context.Background(), level) {
		b.log.Log(context.Background(), level, fmt.Sprintf(format, v...))
	}
}

// handshakeError matches what the server says when TLS fails, on the route
// port (rid) or the client port (cid).
var handshakeError = regexp.MustCompile(`(?s)^(\S+) - ([rc])id:\d+ .*TLS .*?handshake error: (.*)$`)

// handshake logs a failed handshake with the other end's address: a node with
// another cookie must be visible from here.
func (b *bridge) handshake(text string) bool {
	m := handshakeError.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	addr, cause := m[1], m[3]
	if !strings.Contains(cause, "certificate") {
		b.log.Info("TLS handshake failed", "addr", addr, "cause", cause) // hung up, timed out, or no TLS
		return true
	}
	from, key := "client", hostOf(addr)
	if m[2] == "r" {
		from = "server"
	}
	peer := b.peerAt(addr)
	if peer != "" {
		key = addr
	}
	if b.due(from + " " + key) {
		b.log.Warn("connection refused: other cookie or other cluster", "from", from, "peer", peer, "addr", addr, "cause", cause)
	}
	return true
}

// permissionViolation matches what the server says when a client may not do
// what it tries.
var permissionViolation = regexp.MustCompile(`^(\S+) - cid:\d+ - .* - (Publish|Subscription) Violation - (.*)$`)

// violation logs what a client may not do, now and then: an app that tries all
// the time must not fill the log of its node.
func (b *bridge) violation(text string) bool {
	m := permissionViolation.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	if b.due("violation " + m[1]) {
		b.log.Warn("a NATS client may not do that", "addr", m[1], "what", strings.ToLower(m[2]), "detail", m[3])
	}
	return true
}

// peerAt is the voter we dialed at addr; whoever dialed us has a port of no
// meaning, and is only an address.
func (b *bridge) peerAt(addr string) string {
	for _, p := range b.voters {
		if p.ClusterAddr == addr {
			return p.Name
		}
	}
	return ""
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

func (b *bridge) due(key string) bool {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if last, ok := b.refused[key]; ok && now.Sub(last) < refusedEvery {
		return false
	}
	if len(b.refused) >= refusedMax {
		clear(b.refused)
	}
	b.refused[key] = now
	return true
}
