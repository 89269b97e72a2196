package page

import (
	_ "embed"
	"fmt"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// ReadTexts reads a TOML file of texts. It may have any of the keys of Texts.
func ReadTexts(path string) (map[string]string, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the configuration names the file
	if err != nil {
		return nil, err
	}
	texts, err := parseTexts(string(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return texts, nil
}

// Texts returns the texts of the pages in English, as ReadTexts reads them.
func Texts() string { return defaultTexts }

// unwrap joins the lines of a text, and keeps its paragraphs.
func unwrap(text string) string {
	paragraphs := strings.Split(strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n")), "\n\n")
	for i := range paragraphs {
		paragraphs[i] = strings.ReplaceAll(paragraphs[i], "\n", " ")
	}
	return strings.Join(paragraphs, "\n\n")
}

func flatten(texts map[string]string, prefix string, table map[string]any) error {
	for key, value := range table {
		switch value := value.(type) {
		case string:
			texts[prefix+key] = unwrap(value)
		case map[string]any:
			if err := flatten(texts, prefix+key+".", value); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%q must be a text in quotation marks", prefix+key)
		}
	}
	return nil
}

//go:embed texts.toml
var defaultTexts string

// parseTexts returns the texts of a TOML file by their keys. It accepts a key
// as "form.title", as form.title, and as title in the table [form].
func parseTexts(data string) (map[string]string, error) {
	var tables map[string]any
	if err := toml.Unmarshal([]byte(data), &tables); err != nil {
		return nil, err
	}
	texts := make(map[string]string)
	return texts, flatten(texts, "", tables)
}
