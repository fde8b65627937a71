package state

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// DiffJobs lists the fields in which two specifications differ, by their paths in a job file. A nil job has no fields.
func DiffJobs(before, after *Job) []DiffLine {
	old, new := flatten(before), flatten(after)
	both := map[string]bool{}
	for path := range old {
		both[path] = true
	}
	for path := range new {
		both[path] = true
	}
	var out []DiffLine
	for _, path := range sortedKeys(both) {
		if o, n := old[path], new[path]; o != n && !(unset(o) && unset(n)) {
			out = append(out, DiffLine{Path: path, Old: old[path], New: new[path]})
		}
	}
	return out
}

// unset reports whether a field that is absent on the other side says nothing by being there.
func unset(value string) bool {
	switch value {
	case "", "0", "0s", "false", "null":
		return true
	}
	return false
}

// flatten returns every field of a job's JSON by path.
func flatten(j *Job) map[string]string {
	out := map[string]string{}
	if j == nil {
		return out
	}
	var tree map[string]any
	if err := json.Unmarshal(marshal(j.spec()), &tree); err != nil {
		return out
	}
	flattenObject(out, "", tree)
	return out
}

func flattenObject(out map[string]string, path string, object map[string]any) {
	if object["MilliCores"] != nil || object["Cores"] != nil { // they stand for the MHz
		delete(object, "CPU")
	}
	for key, value := range object {
		switch key {
		case "Env", "Meta", "Config": // the keys are the user's
			flattenFree(out, join(path, strings.ToLower(key)), value)
		case "Constraints":
			flattenConditions(out, join(path, "constraint"), value)
		case "Affinities":
			flattenConditions(out, join(path, "affinity"), value)
		default:
			flattenValue(out, path, key, value)
		}
	}
}

func flattenValue(out map[string]string, path, key string, value any) {
	name := blockName(key)
	switch v := value.(type) {
	case map[string]any:
		flattenObject(out, join(path, name), v)
	case []any:
		for i, e := range v {
			object, ok := e.(map[string]any)
			if !ok {
				out[join(path, name)] = compact(v)
				return
			}
			flattenElement(out, join(path, name), key, i, object)
		}
	case float64:
		out[join(path, name)] = number(key, v)
	default:
		out[join(path, name)] = compact(v)
	}
}

// flattenElement names the elements of a list of blocks by their label, so that one that moved is no change.
func flattenElement(out map[string]string, path, key string, i int, object map[string]any) {
	switch key {
	case "Networks":
		if i > 0 {
			path = join(path, strconv.Itoa(i))
		}
	case "ReservedPorts", "DynamicPorts":
		label := fmt.Sprint(object["Label"])
		out[join(path, label)] = map[string]string{"ReservedPorts": "static", "DynamicPorts": "dynamic"}[key]
		path = join(path, label)
		delete(object, "Label")
	case "Spreads", "SpreadTarget", "Devices": // what labels them is no name
		by := map[string]string{"Spreads": "Attribute", "SpreadTarget": "Value", "Devices": "Name"}[key]
		path = join(path, strconv.Quote(fmt.Sprint(object[by])))
		out[path] = "present"
		delete(object, by)
	default:
		path = join(path, fmt.Sprint(object["Name"]))
		out[path] = "present"
		delete(object, "Name")
	}
	flattenObject(out, path, object)
}

func flattenFree(out map[string]string, path string, value any) {
	if m, ok := value.(map[string]any); ok {
		for k, v := range m {
			flattenFree(out, join(path, k), v)
		}
		return
	}
	out[path] = compact(value)
}

// flattenConditions treats constraints and affinities as sets: each is its own path.
func flattenConditions(out map[string]string, path string, value any) {
	list, _ := value.([]any)
	for _, e := range list {
		c, _ := e.(map[string]any)
		text := strings.TrimSpace(fmt.Sprintf("%v %v %v", c["LTarget"], c["Operand"], c["RTarget"]))
		says := "present"
		if w, ok := c["Weight"].(float64); ok {
			says = "weight " + strconv.FormatFloat(w, 'f', -1, 64)
		}
		out[join(path, strconv.Quote(text))] = says
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// number writes durations as people do.
func number(key string, v float64) string {
	switch key {
	case "Interval", "Delay", "MaxDelay", "KillTimeout":
		return time.Duration(v).String()
	case "MilliCores":
		return strconv.FormatFloat(v, 'f', -1, 64) + "m"
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

func compact(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return string(marshal(v))
}

// blockName is the job file's name of a JSON key.
func blockName(key string) string {
	if name := map[string]string{
		"TaskGroups":       "group",
		"Tasks":            "task",
		"Networks":         "network",
		"ReservedPorts":    "port",
		"DynamicPorts":     "port",
		"Value":            "static",
		"RestartPolicy":    "restart",
		"ReschedulePolicy": "reschedule",
		"LogConfig":        "logs",
		"Spreads":          "spread",
		"SpreadTarget":     "target",
		"Devices":          "device",
		"MilliCores":       "cpu",
		"CPU":              "cpu", "ID": "id",
	}[key]; name != "" {
		return name
	}
	key = strings.TrimSuffix(key, "MB")
	var b strings.Builder
	for i, c := range key {
		if unicode.IsUpper(c) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}
