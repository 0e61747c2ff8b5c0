package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/policy/config"
)

func newConfig() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "config",
		Short: "Check configuration files, or make one the cluster's",
		Example: `  regent config check node1.config node2.config node3.config
  regent config apply cluster.yaml`,
	})
	cmd.AddCommand(newConfigCheck(), newConfigApply())
	return cmd
}

func newConfigCheck() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE…",
		Short: "Validate configuration files, and whether they agree",
		Long: `Validates each file by itself and prints what is wrong as
FILE:LINE:COL: message, warnings included. Several files are also compared: the
nodes of a cluster must agree on the distributed apps, the servers and the
ports. A file in which nothing is distributed is taken as one that goes with the
others (a second --config) and is not compared.

Exit code 2 means errors or disagreement, 0 none.`,
		Example: `  regent config check node1.config node2.config node3.config
  regent config check cluster.yaml --json`,
		Args: arguments(true, "FILE"),
		RunE: func(cmd *cobra.Command, files []string) error {
			c := checkConfigs(os.ReadFile, files)
			var err error
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), c)
			} else {
				err = c.print(cmd.OutOrStdout())
			}
			if err != nil {
				return failed("config check", err)
			}
			return c.failure()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// finding is one thing that was found in a file.
type finding struct {
	File    string `json:"file"`
	Line    int    `json:"line"` // 0: the file as a whole
	Column  int    `json:"column"`
	Warning bool   `json:"warning"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

// configCheck is the document of "config check --json".
type configCheck struct {
	Schema   int       `json:"schema"`
	OK       bool      `json:"ok"`
	Findings []finding `json:"findings"`
}

// checkConfigs checks each file, and compares those in which something is
// distributed with the first of them.
func checkConfigs(read config.Reader, files []string) *configCheck {
	c := &configCheck{Schema: 1, OK: true, Findings: []finding{}}
	var first *config.Config
	var firstFile string
	for _, file := range files {
		cfg, err := config.Load(read, file)
		if err != nil {
			c.add(file, false, err)
			continue
		}
		for _, w := range cfg.Warnings {
			c.add(file, true, w)
		}
		c.checkAlone(file, cfg)
		switch {
		case len(cfg.Specs) == 0:
		case first == nil:
			first, firstFile = cfg, file
		default:
			c.compare(firstFile, first, file, cfg)
		}
	}
	return c
}

// checkAlone finds what a node would refuse on start.
func (c *configCheck) checkAlone(file string, cfg *config.Config) {
	if _, err := cfg.Voters(""); err != nil && len(cfg.Specs) > 0 {
		c.add(file, false, err)
	}
	if _, err := cfg.PortMap("", nil); err != nil {
		c.add(file, false, err)
	}
	if _, err := cfg.Timing(false); err != nil {
		c.add(file, false, err)
	}
}

func (c *configCheck) compare(fileA string, a *config.Config, fileB string, b *config.Config) {
	for _, d := range config.Compare(a, b) {
		c.OK = false
		c.Findings = append(c.Findings, finding{
			File: fileB, Message: fmt.Sprintf("%s: %s has %s, %s has %s", subject(d), fileA, d.A, fileB, d.B),
		})
	}
}

func subject(d config.Difference) string {
	if d.App == "" {
		return d.What + " differs"
	}
	return fmt.Sprintf("%s: %s differs", d.App, d.What)
}

func (c *configCheck) add(file string, warning bool, err error) {
	c.OK = c.OK && warning
	found := diagnosed(err)
	if found == nil {
		c.Findings = append(c.Findings, finding{File: file, Warning: warning, Message: err.Error()})
	}
	for _, d := range found {
		if d.File == "" {
			d.File = file
		}
		c.Findings = append(c.Findings, finding{
			File: d.File, Line: d.Line, Column: d.Column, Warning: warning, Message: d.Message, Hint: d.Hint,
		})
	}
}

func (c *configCheck) print(w io.Writer) error {
	var errs []error
	for _, f := range c.Findings {
		_, err := fmt.Fprintln(w, f)
		if f.Hint != "" {
			_, err = fmt.Fprintln(w, "  hint:", f.Hint)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// String is FILE:LINE:COL: message.
func (f finding) String() string {
	at, kind := config.Position{File: f.File, Line: f.Line, Column: f.Column}, ""
	if f.Warning {
		kind = "warning: "
	}
	return at.String() + ": " + kind + f.Message
}

func (c *configCheck) failure() error {
	if c.OK {
		return nil
	}
	n := 0
	for _, f := range c.Findings {
		if !f.Warning {
			n++
		}
	}
	return usage("config check", "%d found wrong", n)
}
