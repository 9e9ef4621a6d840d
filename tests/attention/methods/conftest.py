"""The shared photos of pets, as the real ViT-Tiny gets them."""

import pytest


@pytest.fixture(scope="session")
def real_pets(shared, real_tiny):
    """(name, model input) of all 74, in order, each opened when it is asked for."""
    from vitdemo.core.config import Settings
    from vitdemo.core.photos.photo import open_photo
    from vitdemo.core.photos.search import find_items

    paths = [item.path for item in find_items([shared / "data" / "pets" / "images"])]
    return {path.stem: lambda path=path: real_tiny.preprocessing(open_photo(path, Settings()).image) for path in paths}


@pytest.fixture(scope="session")
def real_pet(real_pets):
    """A function from a photo's name to the model input."""
    return lambda name: real_pets[name]()
