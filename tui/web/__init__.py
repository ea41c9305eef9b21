"""The app in a browser, through textual-serve. Nothing else imports it: textual-serve is an extra."""
