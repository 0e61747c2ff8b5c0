// Stamp is the smallest app: it writes down when it began, and waits.
//
//	stamp FILE WHO
package main

import (
	"fmt"
	"os"
	"time"
)

func main() {
	now := time.Now()
	f, err := os.OpenFile(os.Args[1], os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err == nil {
		who := os.Args[2]
		if who == "-" {
			who = os.Getenv("REGENT_NODE")
		}
		_, err = fmt.Fprintf(f, "%d %s\n", now.UnixNano(), who)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(os.Args) > 3 { // to measure the start alone
		return
	}
	_, _ = os.Stdin.Read(make([]byte, 1)) // ends with Erlang's port
	time.Sleep(time.Hour)
}
