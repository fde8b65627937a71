package runtime

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxCore bounds the numbers of cores, so that a short list cannot ask for much memory.
const maxCore = 1 << 16

// FormatCores writes cores as the kernel does: "0-2,5".
func FormatCores(cores []int) string {
	sorted := slices.Compact(slices.Sorted(slices.Values(cores)))
	var parts []string
	for i := 0; i < len(sorted); {
		last := i
		for last+1 < len(sorted) && sorted[last+1] == sorted[last]+1 {
			last++
		}
		part := strconv.Itoa(sorted[i])
		if last > i {
			part += "-" + strconv.Itoa(sorted[last])
		}
		parts = append(parts, part)
		i = last + 1
	}
	return strings.Join(parts, ",")
}

// ParseCores reads the kernel's "0-2,5". The result is ascending, each core once.
func ParseCores(text string) ([]int, error) {
	var cores []int
	for _, part := range strings.Split(strings.TrimSpace(text), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		lo, err := strconv.Atoi(first)
		hi, err2 := strconv.Atoi(last)
		if err != nil || err2 != nil || lo < 0 || hi < lo || hi > maxCore {
			return nil, fmt.Errorf("%q is not a list of cores such as \"0-2,5\"", text)
		}
		for c := lo; c <= hi; c++ {
			cores = append(cores, c)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(cores))), nil
}
