package manager_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/seed7529eb29/regent/manager"
)

// greeter is an app: it is up when Start has returned, and lives until its
// context ends.
type greeter struct{}

func (greeter) Start(_ context.Context, s manager.Start) error {
	fmt.Printf("%s starts on %s: %s, epoch %d\n", s.App, s.Node, s.Kind, s.Epoch)
	return nil
}

func (greeter) Run(ctx context.Context) error {
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
	return nil
}

// A cluster of one node, in this program. Two more programs like it, with their
// own names and the same configuration and cookie, would make it one of three.
func Example() {
	dir, err := os.MkdirTemp("", "regent-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "cluster.yaml")
	text := `
hosts: {here: 127.0.0.1}
distributed: [{app: greeter, timeout: 5s, nodes: [node1@here]}]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	cfg, err := manager.LoadConfig(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	cookie, err := manager.LoadCookie(filepath.Join(dir, "cookie")) // makes it
	if err != nil {
		fmt.Println(err)
		return
	}
	n, err := manager.New(manager.Options{
		Name: "node1@here", Config: cfg, Cookie: cookie, DataDir: filepath.Join(dir, "data"),
		Listen: "127.0.0.1:0", // any free port
		Apps:   map[string]func() manager.Application{"greeter": func() manager.Application { return greeter{} }},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	var exit manager.Exit
	var life sync.WaitGroup
	life.Go(func() {
		exit = n.Run(ctx)
		stop()
	})
	select {
	case <-n.Connected():
	case <-ctx.Done():
	}
	if err := n.StartApp(ctx, "greeter", manager.Temporary); err != nil {
		fmt.Println("start:", err)
	}
	doc, err := n.Status(ctx)
	if err == nil && doc.Apps[0].State == manager.AppRunning {
		fmt.Println("running on", doc.Apps[0].Node)
	}
	stop() // as SIGTERM would
	life.Wait()
	fmt.Println("exit code", exit.Code)
	// Output:
	// greeter starts on node1@here: normal, epoch 1
	// running on node1@here
	// app is being stopped
	// exit code 0
}
