package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/seed7529eb29/regent/bus/cred"
)

// CookieSource says where the cookie comes from. In this order: Value, File,
// $REGENT_COOKIE, $REGENT_COOKIE_FILE, ~/.regent.cookie.
type CookieSource struct {
	Value    string // of -setcookie
	File     string // of --cookie-file
	Insecure bool   // a weak cookie is accepted
}

// path is the cookie file, "" where the cookie is given as a value.
func (s CookieSource) path() (string, error) {
	switch {
	case s.Value != "":
		return "", nil
	case s.File != "":
		return s.File, nil
	case os.Getenv("REGENT_COOKIE") != "":
		return "", nil
	case os.Getenv("REGENT_COOKIE_FILE") != "":
		return os.Getenv("REGENT_COOKIE_FILE"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("cookie file: %w", err)
	}
	return filepath.Join(home, ".regent.cookie"), nil
}

// Load reads the cookie; a missing file is made. The errors are errors of
// usage.
func (s CookieSource) Load() (cred.Cookie, error) {
	path, err := s.path()
	if err != nil {
		return cred.Cookie{}, cookieError(err)
	}
	if path != "" {
		c, err := cred.LoadCookie(path, s.Insecure)
		return c, cookieError(err)
	}
	value := s.Value
	if value == "" {
		value = os.Getenv("REGENT_COOKIE")
	}
	c, err := cred.NewCookie(value, s.Insecure)
	if err != nil {
		return c, cookieError(fmt.Errorf("cookie: %w", err))
	}
	return c, nil
}

// LoadExisting is Load that makes no file: a cookie nobody else has helps no
// client. The error is fs.ErrNotExist if there is none.
func (s CookieSource) LoadExisting() (cred.Cookie, error) {
	path, err := s.path()
	if err != nil {
		return cred.Cookie{}, cookieError(err)
	}
	if path != "" {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return cred.Cookie{}, &ExitError{
				Code: exitUsage, What: "cookie file " + path, Err: fs.ErrNotExist,
				Hint: "copy the cluster's cookie file there, or name it with --cookie-file",
			}
		}
	}
	return s.Load()
}

// nextSuffix is added to the name of the cookie file for the cookie that will
// take its place.
const nextSuffix = ".next"

// nextFile is where that cookie is; "" where no file has the present one.
func (s CookieSource) nextFile() (string, error) {
	path, err := s.path()
	if err != nil || path == "" {
		return "", err
	}
	return path + nextSuffix, nil
}

// next is where that cookie comes from, if there is one.
func (s CookieSource) next() (CookieSource, bool) {
	path, err := s.nextFile()
	if err != nil || path == "" {
		return CookieSource{}, false
	}
	_, err = os.Stat(path)
	return CookieSource{File: path, Insecure: s.Insecure}, err == nil
}

// existing is the authority of a cookie that must be there.
func (s CookieSource) existing(cluster string) (*cred.Authority, error) {
	cookie, err := s.LoadExisting()
	if err != nil {
		return nil, err
	}
	a, err := s.Authority(cookie, cluster)
	return a, cookieError(err)
}

// Authority derives the credentials of cluster. The slow part is kept beside
// the cookie file, so that the next command starts quickly.
func (s CookieSource) Authority(c cred.Cookie, cluster string) (*cred.Authority, error) {
	path, err := s.path()
	if err != nil {
		return nil, err
	}
	if path == "" {
		return cred.Derive(c, cluster)
	}
	return cred.DeriveCached(c, cluster, path+".keys")
}

// cookieError adds what to do about a cookie that can't be used.
func cookieError(err error) error {
	if err == nil {
		return nil
	}
	e := &ExitError{Code: exitUsage, Err: err}
	switch {
	case errors.Is(err, cred.ErrCookieReadable):
		e.Hint = "chmod 0400 it; whoever could read it has it, so make a new one if others use this machine"
	case errors.Is(err, cred.ErrCookieWeak):
		e.Hint = "make one with: regent cookie init; or accept the risk with --insecure-cookie"
	}
	return e
}
