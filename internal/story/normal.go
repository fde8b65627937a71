package story

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// rule replaces a part of outputs that differs from run to run.
type rule struct{ find, put string }

// rules are what Normal replaces, in this order. Columns keep their widths.
func rules() []rule {
	return []rule{
		// Which steps of a roll-out are seen depends on the moment.
		{`(?m)^ +\d+\.\ds  [0-9a-f]{8}  .*(placed|running|stopping|stopped|complete) on .*\n`, ""},
		{`(?m)^ +\d+\.\ds  [0-9a-f]{8}  .*: Downloading Image: .*\n`, ""},
		{`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"},
		{`\b[0-9a-f]{8}\b`, "xxxxxxxx"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)`, "2006-01-02T15:04:05Z"},
		{`\d+s ago +\d+s ago`, "0s ago   0s ago"},
		{`(?m)^ +\d+\.\ds  `, "    0.0s  "},
		{`after \d+\.\d s`, "after 0.0 s"},
		{`Z  #\d+ +`, "Z  #N  "},
		{`waiting [0-9.]+s,`, "waiting 0s,"},
		{`(?i)(index[ :=]+|check-index )\d+`, "${1}N"},
		{`\d+ bytes`, "N bytes"},
		{`127\.0\.0\.1:\d+`, "127.0.0.1:PORT_"},
		{`127\.0\.0\.1  \d+ `, "127.0.0.1  PORT_ "},
		{`(?m)^(CPU|Memory|Disk) .*\n`, "${1} …\n"},
		{`\d\d+ (MiB|MHz)`, "N ${1}"},
		{`(?m)(^|[^\d.])(-?)\d\.\d\d\d($|[^\d.])`, "${1}${2}N.NNN${3}"}, // a score, no part of an address
		{`\d+ %`, "N %"},
	}
}

// Normal replaces what differs from run to run.
func Normal(text string) string {
	for _, r := range rules() {
		text = regexp.MustCompile(r.find).ReplaceAllString(text, r.put)
	}
	return text
}

// anywhere are what Anywhere replaces beyond that, in this order.
func anywhere() []rule {
	return []rule{
		{`\b\d+(\.\d+)? ([KMGT]i)?B\b`, "N B"}, // a disk, a directory and a program are as large as they are
		{`\b(\d+[hm])?\d+[smd] ago\b`, "0s ago"},
		{`\b(containerd|runc) \d+\.\d+\.\d+`, "${1} VERSION"},
		{`\blinux/(amd64|arm64)\b`, "linux/ARCH"},
		{`\bsha256:[0-9a-f]{12,64}`, "sha256:DIGEST"},                   // of what was built just now
		{`\b(2\d{4}|3[01]\d{3})\b`, "PORT_"},                            // dynamic ports
		{`(\S) {2,}`, "${1}  "},                                         // columns are as wide as addresses and versions make them
		{`\b(on |xxxxxxxx  |Node Name  = |miss: node )m\d\b`, "${1}mN"}, // where a copy is placed is the scheduler's business
	}
}

// Anywhere replaces what Normal does and, beside it, what differs from machine to machine and from build to build. Columns lose their
// widths.
func Anywhere(text string) string {
	text = Normal(text)
	for _, r := range anywhere() {
		text = regexp.MustCompile(r.find).ReplaceAllString(text, r.put)
	}
	return text
}

// Outline checks that an answer is JSON and shows its shape: values differ from run to run.
func Outline(text string) (string, error) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return "", err
	}
	if list, ok := v.([]any); ok {
		if len(list) == 0 {
			return "JSON: an empty list\n", nil
		}
		return fmt.Sprintf("JSON: a list of %d, each with %s\n", len(list), keys(list[0])), nil
	}
	return "JSON: " + keys(v) + "\n", nil
}

func keys(v any) string {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Sprint(v)
	}
	return strings.Join(slices.Sorted(maps.Keys(m)), " ")
}
