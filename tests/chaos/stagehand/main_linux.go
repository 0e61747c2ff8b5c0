package main

import (
	"fmt"
	"os"
)

func main() {
	role, args := "", []string(nil)
	if len(os.Args) > 1 {
		role, args = os.Args[1], os.Args[2:]
	}
	var err error
	switch {
	case role == "app" && len(args) == 1:
		err = runApp(args[0])
	case role == "recorder" && len(args) == 1:
		err = runRecorder(args[0])
	case role == "init" && len(args) == 0:
		err = runInit()
	case role == "hold" && len(args) == 0:
		err = hold()
	default:
		err = fmt.Errorf("usage: stagehand app SOCKET | recorder SOCKET | init | hold")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stagehand:", err)
		os.Exit(1)
	}
}
