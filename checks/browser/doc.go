// Package browser holds tests of the pages of the programs, in headless
// Chromium.
package browser
