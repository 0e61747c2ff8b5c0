// Package doctor looks at a machine and at a cluster as a node would, changes
// nothing but the key that proves that writes work, and says what is wrong and
// what to do about it.
//
// Each check has one of four results: OK, Warning (works, and not as it should
// be), Failed (a node would not work), Skipped (nothing to look at was given).
package doctor
