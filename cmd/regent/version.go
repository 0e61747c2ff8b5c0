package main

import (
	"cmp"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is set by the linker (-X main.release=v1.2.3) in packages.
var release string

// version is what this program is made of.
type version struct {
	Schema  int    `json:"schema"`
	Version string `json:"version"`
	Commit  string `json:"commit"`
	NATS    string `json:"nats"` // nats-server
}

func thisVersion() version {
	v := version{Schema: 1, Version: cmp.Or(release, "devel"), Commit: "unknown", NATS: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if mod := info.Main.Version; release == "" && mod != "" && mod != "(devel)" {
		v.Version = mod
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value
		}
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/nats-io/nats-server/v2" {
			v.NATS = d.Version
		}
	}
	return v
}

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print version, commit and the version of nats-server inside",
		Example: `  regent version
  regent version --json`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := thisVersion()
			if asJSON {
				return printJSON(cmd.OutOrStdout(), v)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "regent %s\ncommit %s\nnats-server %s\n", v.Version, v.Commit, v.NATS)
			return failed("version", err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
