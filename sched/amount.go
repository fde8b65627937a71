package sched

import (
	"math"
	"strconv"
	"strings"
)

// amount is a number with a unit, as fingerprints and job files write them: "11264 MiB", "1.5 GHz", "250W".
type amount struct {
	n    float64
	kind string // amounts of one kind can be compared
}

// unit is what one of it is in the base unit of its kind.
type unit struct {
	factor float64
	kind   string
}

// unitOf knows the units in which devices are described.
func unitOf(name string) (unit, bool) {
	if rate, isRate := strings.CutSuffix(name, "/s"); isRate {
		u, known := unitOf(rate)
		return unit{u.factor, u.kind + "/s"}, known && u.kind == "bytes"
	}
	const bytes, hertz, watts = "bytes", "hertz", "watts"
	switch name {
	case "B":
		return unit{1, bytes}, true
	case "KiB":
		return unit{1 << 10, bytes}, true
	case "MiB":
		return unit{1 << 20, bytes}, true
	case "GiB":
		return unit{1 << 30, bytes}, true
	case "TiB":
		return unit{1 << 40, bytes}, true
	case "kB", "KB":
		return unit{1e3, bytes}, true
	case "MB":
		return unit{1e6, bytes}, true
	case "GB":
		return unit{1e9, bytes}, true
	case "TB":
		return unit{1e12, bytes}, true
	case "Hz":
		return unit{1, hertz}, true
	case "MHz":
		return unit{1e6, hertz}, true
	case "GHz":
		return unit{1e9, hertz}, true
	case "mW":
		return unit{1e-3, watts}, true
	case "W":
		return unit{1, watts}, true
	case "kW":
		return unit{1e3, watts}, true
	}
	return unit{}, false
}

// parseAmount reads a number with a unit. A number without one is no amount: compare knows numbers.
func parseAmount(s string) (amount, bool) {
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' && r != '-' && r != '+' })
	if end <= 0 {
		return amount{}, false
	}
	n, err := strconv.ParseFloat(s[:end], 64)
	if err != nil || math.IsInf(n, 0) {
		return amount{}, false
	}
	u, known := unitOf(strings.TrimSpace(s[end:]))
	return amount{n * u.factor, u.kind}, known
}
