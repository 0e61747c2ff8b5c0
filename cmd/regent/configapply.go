package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/bus/service"
	"github.com/seed7529eb29/regent/manager/status"
	"github.com/seed7529eb29/regent/policy/config"
	"github.com/seed7529eb29/regent/policy/node"
	"github.com/seed7529eb29/regent/policy/specjson"
)

func newConfigApply() *cobra.Command {
	var p placeFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "apply FILE…",
		Short: "Make the distributed apps of a file the cluster's specification",
		Long: `Makes what FILE says of distributed apps (distributed, and of these apps takeover,
start_phases and start_type) the specification that all nodes go by. It returns
when every node that is there does. Several files count as one, as with --config.

Nothing moves by that: lists and timeouts count for the next start or failover.
Put FILE in place of the old one on every node: a node that is restarted with
another specification is refused (exit code 6), until the next apply. What else
FILE says is not applied; commands are each node's own.

An app that is started can't be taken out of distributed, nor changed between
overlap and another takeover: stop it first. The voters stay too: a FILE from
which other ones follow ends with exit code 6.`,
		Example: `  regent config apply cluster.yaml
  regent config apply node1.config apps.config --json`,
		Args: arguments(true, "FILE"),
		RunE: func(cmd *cobra.Command, files []string) error {
			cfg, err := config.Load(os.ReadFile, files...)
			if err != nil {
				return &ExitError{Code: exitUsage, What: "config apply", Err: err}
			}
			if len(cfg.Specs) == 0 {
				return usage("config apply", "nothing is distributed in %s", strings.Join(files, " and "))
			}
			if err := p.parse("--on"); err != nil {
				return err
			}
			reply, err := p.apply(cmd, cfg)
			if err != nil {
				return err
			}
			return failed("config apply", printApplied(cmd.OutOrStdout(), reply, asJSON))
		},
	}
	p.bind(cmd, "")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// apply asks one node, the nearest unless another was named.
func (p *placeFlags) apply(cmd *cobra.Command, cfg *config.Config) (*service.ConfigReply, error) {
	ctx, cancel := p.limit(cmd.Context())
	defer cancel()
	c, err := p.open(ctx, cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	defer c.close()
	doc, err := c.status(ctx)
	if err != nil {
		return nil, err
	}
	request := service.ConfigRequest{Apps: specjson.FromAll(cfg.Specs)}
	if doc.Quorum.Mode == status.Embedded {
		if request.Voters, err = cfg.Voters(""); err != nil {
			return nil, failed("config apply", err)
		}
	}
	n := doc.Node
	if p.node != "" {
		n = p.node
	}
	var reply service.ConfigReply
	return &reply, c.ask(ctx, n, service.VerbConfig, request, &reply)
}

// appliedDoc is the document of "config apply --json".
type appliedDoc struct {
	Schema  int         `json:"schema"`
	Nodes   []node.Name `json:"nodes"`
	Changed []string    `json:"changed"`
}

func printApplied(w io.Writer, r *service.ConfigReply, asJSON bool) error {
	if asJSON {
		return printJSON(w, appliedDoc{status.Schema, r.Nodes, r.Changed})
	}
	for _, change := range r.Changed {
		if _, err := fmt.Fprintln(w, change); err != nil {
			return err
		}
	}
	if len(r.Changed) == 0 {
		if _, err := fmt.Fprintln(w, "nothing differs from what holds"); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "applied at %s\n", joinNames(r.Nodes))
	return err
}

func joinNames(names []node.Name) string {
	var out []string
	for _, n := range names {
		out = append(out, string(n))
	}
	return strings.Join(out, ", ")
}
