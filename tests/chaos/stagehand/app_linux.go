package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/seed7529eb29/regent/tests/chaos/trace"
)

// instanceVariable tells a child whose it is.
const instanceVariable = "CHAOS_INSTANCE"

// tickEvery is how often a process says that it executes.
const tickEvery = 20 * time.Millisecond

// runApp is an app: it ends when it is told to, or when there is no recorder any
// more.
func runApp(socket string) error {
	begun := trace.Now()
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	h := hello(begun)
	conn, err := net.Dial("unixpacket", socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if _, err := conn.Write(text); err != nil {
		return err
	}
	if h.Role == trace.Leader {
		if err := bearChild(socket, h.Instance); err != nil {
			return err
		}
	}
	ticks := time.NewTicker(tickEvery)
	defer ticks.Stop()
	for {
		select {
		case <-told:
			return nil
		case <-ticks.C:
			if _, err := conn.Write([]byte(strconv.FormatInt(int64(trace.Now()), 10))); err != nil {
				return err
			}
		}
	}
}

// bearChild starts a child in the same process group, which the node has to end
// too.
func bearChild(socket, instance string) error {
	child := exec.Command("/proc/self/exe", "app", socket)
	child.Env = append(os.Environ(), instanceVariable+"="+instance)
	if err := child.Start(); err != nil {
		return fmt.Errorf("child: %w", err)
	}
	go func() { _ = child.Wait() }()
	return nil
}

func hello(begun trace.Instant) trace.Hello {
	h := trace.Hello{
		At: begun, Role: trace.Child, Instance: os.Getenv(instanceVariable),
		App: os.Getenv("REGENT_APP"), Node: os.Getenv("REGENT_NODE"), Session: os.Getenv("REGENT_SESSION"),
		Start: os.Getenv("REGENT_START_TYPE"), From: os.Getenv("REGENT_START_FROM"),
	}
	h.Epoch, _ = strconv.ParseUint(os.Getenv("REGENT_EPOCH"), 10, 64)
	if h.Instance == "" {
		h.Role, h.Instance = trace.Leader, rand.Text()
	}
	return h
}
