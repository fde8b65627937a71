package main

import (
	"context"
	"debug/elf"
	"fmt"
	"os"
)

const maxBinary = 60 // MB

// measureBinary looks at the binary itself.
func measureBinary(_ context.Context, o options) ([]figure, error) {
	info, err := os.Stat(o.drover)
	if err != nil {
		return nil, err
	}
	f := figure{bench: "binary", unit: "MB", sense: atMost, bound: maxBinary, values: []float64{float64(info.Size()) / megabyte}}
	needs, err := dynamic(o.drover)
	if err != nil {
		return nil, err
	}
	f.add("static", needs == "")
	if needs != "" {
		f.broken = "it is not static: it has " + needs
	}
	return []figure{f}, nil
}

// dynamic says what of a program only a dynamic linker can resolve, "" when there is nothing.
func dynamic(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	defer func() { _ = f.Close() }() // only read
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_INTERP:
			return "an interpreter", nil
		case elf.PT_DYNAMIC:
			return "a dynamic section", nil
		}
	}
	if f.Section(".dynamic") != nil {
		return "a dynamic section", nil
	}
	return "", nil
}
