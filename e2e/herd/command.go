package herd

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// What the programs that run herds (demo, drills, bench) share on their command lines.

// Interruptible is a context that ends when the user interrupts or somebody ends the process.
func Interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// Absolute makes paths absolute, since machines do not run where the program was started.
func Absolute(paths ...*string) error {
	for _, path := range paths {
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = abs
	}
	return nil
}

// Choose are those of all whose names are given, in the order given; all when none is. Kind is what a member is called
// in the error.
func Choose[T any](kind string, all []T, name func(T) string, names []string) ([]T, error) {
	if len(names) == 0 {
		return all, nil
	}
	var out []T
	for _, want := range names {
		i := slices.IndexFunc(all, func(member T) bool { return name(member) == want })
		if i < 0 {
			var known []string
			for _, member := range all {
				known = append(known, name(member))
			}
			return nil, fmt.Errorf("there is no %s %q; there are %s", kind, want, strings.Join(known, ", "))
		}
		out = append(out, all[i])
	}
	return out, nil
}
