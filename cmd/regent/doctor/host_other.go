//go:build !linux

package doctor

import "errors"

func drift() (float64, error) { return 0, errors.ErrUnsupported }

func freeSpace(string) (uint64, error) { return 0, errors.ErrUnsupported }
