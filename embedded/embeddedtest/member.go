package embeddedtest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/embedded"
)

// memberEnv holds the memberConfig of a process that is to be a server.
const memberEnv = "REGENT_EMBEDDEDTEST_MEMBER"

// What a member and its test say to each other: one line each.
const (
	sayReady = "ready"
	sayStop  = "stop"
)

type memberConfig struct {
	Name          string
	Cookie        string
	Derived       string // file of the derived keys
	DataDir       string
	ClientListen  string
	ClusterListen string
	Voters        []embedded.Peer
	StockTiming   bool
}

// A member is this very binary: there is no other way to have one without a
// build step in every test that wants to kill a server.
func init() {
	text, ok := os.LookupEnv(memberEnv)
	if !ok {
		return
	}
	if err := member(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// member serves until it is told to stop, or the test is gone.
func member(text string) error {
	var c memberConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	s, err := c.start()
	if err != nil {
		return err
	}
	fmt.Println(sayReady)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil || line != sayStop+"\n" {
		return fmt.Errorf("the test is gone: %q, %w", line, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopMax)
	defer cancel()
	return s.Shutdown(ctx)
}

func (c *memberConfig) start() (*embedded.Server, error) {
	cookie, err := cred.NewCookie(c.Cookie, false)
	if err != nil {
		return nil, err
	}
	a, err := cred.DeriveCached(cookie, ClusterName, c.Derived)
	if err != nil {
		return nil, err
	}
	return embedded.Start(context.Background(), embedded.Options{
		Name:          c.Name,
		Authority:     a,
		DataDir:       c.DataDir,
		ClientListen:  c.ClientListen,
		ClusterListen: c.ClusterListen,
		Voters:        c.Voters,
		StockTiming:   c.StockTiming,
		Logger:        slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
}
