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
	for kind, units := range map[string]map[string]float64{
		"bytes": {
			"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
			"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
		},
		"hertz": {"Hz": 1, "MHz": 1e6, "GHz": 1e9},
		"watts": {"mW": 1e-3, "W": 1, "kW": 1e3},
	} {
		if factor, known := units[name]; known {
			return unit{factor, kind}, true
		}
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
