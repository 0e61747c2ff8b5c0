package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

func newCookie() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "cookie",
		Short: "Make the cluster's cookie file, show its fingerprint, make credentials of it",
		Long: `The cookie is the secret that all nodes of a cluster share. Whoever has it is
root of that cluster. It never crosses the network: keys and certificates are
derived from it, the same on every machine.`,
		Example: `  regent cookie init
  regent cookie show
  regent cookie creds --context regent`,
	})
	cmd.AddCommand(newCookieInit(), newCookieShow(), newCookieRotate(), newCookieCreds())
	return cmd
}

func cookieFileFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "cookie-file", "", "cookie `FILE` (default $REGENT_COOKIE_FILE, else ~/.regent.cookie)")
}

func newCookieInit() *cobra.Command {
	var s CookieSource
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the cookie file, with 256 random bits and mode 0400",
		Example: `  regent cookie init
  regent cookie init --cookie-file /etc/regent/cookie`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := s.path()
			if err != nil {
				return failed("cookie init", err)
			}
			if path == "" {
				return usage("cookie init", "REGENT_COOKIE holds the cookie, so no file is used; unset it or name one with --cookie-file")
			}
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				return failed("cookie init", cookieExists(path, err))
			}
			if _, err := s.Load(); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "made %s; copy it to the other machines of the cluster, mode 0400\n", path)
			return failed("cookie init", err)
		},
	}
	cookieFileFlag(cmd, &s.File)
	return cmd
}

func cookieExists(path string, err error) error {
	if err != nil {
		return err
	}
	return &ExitError{
		Code: exitFailed, What: "cookie init", Err: fmt.Errorf("%s exists already", path),
		Hint: "a cluster keeps its cookie; to have another one, remove the file first",
	}
}

// shownCookie is the document of "cookie show --json".
type shownCookie struct {
	Schema      int    `json:"schema"`
	Fingerprint string `json:"fingerprint"`
	File        string `json:"file"` // "" where $REGENT_COOKIE holds the cookie
}

func newCookieShow() *cobra.Command {
	var s CookieSource
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the cookie's fingerprint, which is no secret",
		Long: `Prints the fingerprint of the cookie. Machines that print the same one have the
same cookie. It does not help anybody to find the cookie.`,
		Example: `  regent cookie show
  regent cookie show --json`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := s.path()
			if err != nil {
				return failed("cookie show", err)
			}
			s.Insecure = true // showing it makes nothing worse
			c, err := s.LoadExisting()
			if err != nil {
				return failed("cookie show", err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), shownCookie{Schema: 1, Fingerprint: c.Fingerprint(), File: path})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), c.Fingerprint())
			return failed("cookie show", err)
		},
	}
	cookieFileFlag(cmd, &s.File)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
