// Puts the token where the page finds it, in this tab and others, and goes on to the page. Nothing else has it:
// neither the address bar nor the way back leads here again.

localStorage.setItem("token", document.querySelector("meta[name=token]").content);
location.replace("/");
